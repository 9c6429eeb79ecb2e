/** A new motion from a sentence, shown beside the clips it has learned from. */
import { useEffect, useState } from "preact/hooks";
import { type Clip, exportUrl, type Job, post } from "./api";
import { FigureView } from "./figure-view";
import { Icon } from "./icons";
import { cancel, findJobs, generate, isOver, jobs } from "./jobs";
import { library } from "./library";
import { notify } from "./notices";
import { go, type Making, place } from "./place";
import { shortName } from "./uploads";
import "./make.css";

const SEEDS = 2 ** 31;

export function Make() {
  useEffect(() => void findJobs().catch(() => undefined), []);
  const about = library.value;
  if (about && !about.features.generate) {
    return (
      <div class="nothing" role="status">
        <h2>This studio makes no motion yet</h2>
        <p>{about.generator_note || "There are no weights of a generator."}</p>
      </div>
    );
  }
  return (
    <section class="make" aria-label="New motion">
      <Form />
      <div class="made">
        {jobs.value.length === 0 ? (
          <div class="nothing">
            <h2>Nothing made yet</h2>
            <p>
              Say what the body should do. The best clips of the library for it become exemplars; you see them beside
              what was made.
            </p>
          </div>
        ) : (
          jobs.value.map((job) => <Made key={job.job_id} job={job} />)
        )}
      </div>
    </section>
  );
}

function Form() {
  const { text, making } = place.value;
  const set = (change: Partial<Making>, replace = true) => go({ making: { ...making, ...change } }, replace);
  const submit = (event: Event) => {
    event.preventDefault();
    void generate({ text: text.trim(), ...making, retrieval_scale: making.neighbours ? making.retrieval_scale : 0 });
  };
  return (
    <form class="make-form" onSubmit={submit}>
      <label class="field">
        <span>What should the body do?</span>
        <textarea
          rows={3}
          required
          value={text}
          maxLength={library.value?.limits.text}
          placeholder="a person throws with the left arm"
          onInput={(event) => go({ text: event.currentTarget.value }, true)}
        />
      </label>
      <Slider
        label="Exemplars"
        told={making.neighbours ? String(making.neighbours) : "none: words alone"}
        min={0}
        max={8}
        step={1}
        value={making.neighbours}
        onChange={(neighbours) => set({ neighbours })}
      />
      <Slider
        label="Guidance by words"
        told={making.text_scale.toFixed(1)}
        min={1}
        max={8}
        step={0.1}
        value={making.text_scale}
        onChange={(text_scale) => set({ text_scale })}
      />
      <Slider
        label="Guidance by exemplars"
        told={making.retrieval_scale.toFixed(1)}
        min={0}
        max={8}
        step={0.1}
        value={making.retrieval_scale}
        disabled={!making.neighbours}
        onChange={(retrieval_scale) => set({ retrieval_scale })}
      />
      <Slider
        label="Candidates"
        told={making.candidates > 1 ? `the best of ${making.candidates}` : "the first one"}
        min={1}
        max={8}
        step={1}
        value={making.candidates}
        onChange={(candidates) => set({ candidates })}
      />
      <div class="make-numbers">
        <label class="field">
          <span>Seconds</span>
          <input
            type="number"
            min="0.5"
            max="30"
            step="0.1"
            placeholder="estimated"
            value={making.seconds ?? ""}
            onInput={(event) => set({ seconds: numberOrNull(event.currentTarget.value) })}
          />
        </label>
        <label class="field">
          <span>Seed</span>
          <span class="with-button">
            <input
              type="number"
              min="0"
              max={SEEDS - 1}
              step="1"
              placeholder="random"
              value={making.seed ?? ""}
              onInput={(event) => set({ seed: numberOrNull(event.currentTarget.value) })}
            />
            <button
              type="button"
              class="icon-button"
              aria-label="Draw a seed"
              title="Draw a seed"
              onClick={() => set({ seed: Math.floor(Math.random() * SEEDS) })}
            >
              <Icon name="dice" />
            </button>
          </span>
        </label>
      </div>
      <button class="primary" disabled={!text.trim()}>
        <Icon name="make" /> Make
      </button>
    </form>
  );
}

const numberOrNull = (text: string): number | null => (text === "" ? null : Number(text));

function Slider({
  label,
  told,
  onChange,
  ...range
}: {
  label: string;
  told: string;
  min: number;
  max: number;
  step: number;
  value: number;
  disabled?: boolean;
  onChange: (value: number) => void;
}) {
  return (
    <label class="field">
      <span>
        {label} <span class="field-told">{told}</span>
      </span>
      <input
        type="range"
        {...range}
        aria-valuetext={told}
        onInput={(event) => onChange(Number(event.currentTarget.value))}
      />
    </label>
  );
}

const STATES: Record<Job["state"], string> = {
  waiting: "waiting",
  running: "being made",
  done: "made",
  failed: "failed",
  cancelled: "cancelled",
};

function Made({ job }: { job: Job }) {
  const { request, result, state } = job;
  const title = titleOf(job);
  return (
    <article class="job" aria-label={`${title}: ${STATES[state]}`}>
      <header>
        <h2>{title}</h2>
        <span class="hint">{result ? settingsOf(job) : STATES[state]}</span>
      </header>
      {state === "failed" && (
        <p class="job-fault" role="alert">
          {job.error}
        </p>
      )}
      {!isOver(job) && <Progress job={job} />}
      {result && (
        <div class="job-figures">
          <Fresh job={job} />
          {request.clip && (
            <Beside fresh={result.clip} clip={request.clip} title="before" text={shortName(request.clip)} />
          )}
          {result.exemplars.map(({ clip_id, score, caption }) => (
            <Beside
              key={clip_id}
              fresh={result.clip}
              clip={clip_id}
              title={`exemplar ${score.toFixed(2)}`}
              text={caption}
            />
          ))}
        </div>
      )}
    </article>
  );
}

const titleOf = ({ request }: Job): string => request.text || `${shortName(request.clip ?? "")}, changed`;

function settingsOf({ request, result }: Job): string {
  const scales = request.clip
    ? []
    : [`words ${request.text_scale ?? "usual"}`, `exemplars ${request.retrieval_scale ?? "usual"}`];
  return [`${result!.duration_s.toFixed(1)} s`, `seed ${result!.seed}`, ...scales].join(" · ");
}

/** A clip that the new one has to do with; opens both, one as the ghost of the other. */
function Beside({ fresh, clip, title, text }: { fresh: string; clip: string; title: string; text: string }) {
  return (
    <button class="exemplar" title="Show beside what was made" onClick={() => go({ open: fresh, ghost: clip })}>
      <span class="exemplar-figure">
        <FigureView clip={clip} playing />
      </span>
      <b class="number">{title}</b>
      <span>{text}</span>
    </button>
  );
}

function Fresh({ job }: { job: Job }) {
  const [kept, setKept] = useState(false);
  const { clip, seed } = job.result!;
  const title = titleOf(job);
  const keep = async () => {
    try {
      await post<Clip>("/api/clips", { clip, name: `${title.slice(0, 60)} ${seed}`, caption: title });
      setKept(true);
    } catch (fault) {
      notify((fault as Error).message, "error");
    }
  };
  return (
    <div class="fresh">
      <button class="fresh-figure" aria-label={`Watch: ${title}`} onClick={() => go({ open: clip, ghost: null })}>
        <FigureView clip={clip} playing />
      </button>
      <div class="fresh-acts">
        {["bvh", "glb"].map((format) => (
          <a key={format} class="text-button" href={exportUrl(clip, format)} download>
            {format.toUpperCase()}
          </a>
        ))}
        <button
          class="text-button"
          onClick={() => go({ making: { ...place.value.making, seed }, text: job.request.text })}
        >
          same seed
        </button>
        {library.value?.features.save && (
          <button class="text-button" disabled={kept} onClick={keep}>
            {kept ? "in the library" : "keep"}
          </button>
        )}
      </div>
    </div>
  );
}

function Progress({ job }: { job: Job }) {
  const told = job.state === "waiting" ? (job.position ? `${job.position} before it` : "waiting") : job.stage;
  return (
    <div class="progress">
      <progress
        max={job.total || 1}
        value={job.state === "running" ? job.done : undefined}
        aria-label={`Progress: ${told}`}
      />
      <span class="hint">{told}</span>
      <button class="text-button" onClick={() => void cancel(job)}>
        cancel
      </button>
    </div>
  );
}
