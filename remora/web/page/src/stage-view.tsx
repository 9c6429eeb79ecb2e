/** The stage on the page, with the buttons that say what is drawn on it. */
import { useEffect, useRef, useState } from "preact/hooks";
import type { Motion } from "./frames";
import { seconds } from "./player";
import type { Stage } from "./stage";
import type { StageOptions } from "./stage-body";
import { inks } from "./theme";
import { everyFrame } from "./ticker";

const CHOICES: { option: keyof StageOptions; label: string; ghostOnly?: boolean }[] = [
  { option: "skeleton", label: "Bones" },
  { option: "path", label: "Path" },
  { option: "contacts", label: "Contacts" },
  { option: "follow", label: "Follow" },
  { option: "beside", label: "Side by side", ghostOnly: true },
];

export function StageView({ motion, ghost }: { motion: Motion | null; ghost: Motion | null }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [stage, setStage] = useState<Stage | null>(null);
  const [fault, setFault] = useState(false);
  const [options, setOptions] = useState<StageOptions>({
    skeleton: false,
    path: true,
    contacts: true,
    follow: true,
    beside: false,
  });

  useEffect(() => {
    let made: Stage | null = null;
    let gone = false;
    import("./stage")
      .then((module) => {
        if (gone) return;
        made = new module.Stage(canvas.current!, inks.value, options);
        setStage(made);
      })
      .catch(() => setFault(true));
    return () => ((gone = true), made?.dispose());
  }, []);
  useEffect(() => {
    if (!stage) return;
    const sizer = new ResizeObserver(
      ([
        {
          contentRect: { width, height },
        },
      ]) => width && height && stage.resize(width, height),
    );
    sizer.observe(canvas.current!);
    const stop = everyFrame(() => stage.draw(seconds.value));
    return () => (sizer.disconnect(), stop());
  }, [stage]);
  useEffect(() => void (motion && stage?.show(motion, ghost)), [stage, motion, ghost]);
  useEffect(() => stage?.set(options), [stage, options]);
  const colours = inks.value;
  useEffect(() => stage?.dress(colours), [stage, colours]);

  return (
    <div class="stage" data-state={stage && motion ? "ready" : "loading"}>
      <canvas ref={canvas} role="img" aria-label="The moving body; drag to turn, wheel to come nearer" />
      {fault && (
        <p class="stage-fault" role="alert">
          This browser offers no WebGL, so the clip cannot be shown in three dimensions. The small figures still move.
        </p>
      )}
      <div class="stage-choices" role="group" aria-label="What is drawn">
        {CHOICES.filter(({ ghostOnly }) => !ghostOnly || ghost).map(({ option, label }) => (
          <button
            key={option}
            aria-pressed={options[option]}
            onClick={() => setOptions({ ...options, [option]: !options[option] })}
          >
            {label}
          </button>
        ))}
      </div>
    </div>
  );
}
