/**
 * The small figures of the grid: drawn on a 2-D canvas each, since fifty of them cost a few milliseconds a picture and no
 * WebGL context. Seen orthographically from above and front left; far limbs first, each with a rim that parts it from those
 * behind; the camera walks along, the dots of the floor (half a metre apart) show how far.
 */
import { headingOf, type Side, sideOf, thickness } from "./body";
import { type Motion, poseAt } from "./frames";
import { type Inks, mix } from "./theme";

const ELEVATION = (14 * Math.PI) / 180;
const TURN = (-32 * Math.PI) / 180;
const SIN = Math.sin(ELEVATION);
const COS = Math.cos(ELEVATION);
const DOT_STEP = 0.5;
const DOT_REACH = 1.7;

interface Limb {
  from: number;
  to: number;
  radius: number;
  side: Side;
}
interface Rig {
  limbs: Limb[];
  torso: number[]; // corners, in order
  head: number;
  neck: number;
  yaw: number; // of the first frame
  top: number; // highest point over the clip, metres
  reach: number; // farthest from the root sideways, metres
  key: number; // seconds of the most telling frame
}

const rigs = new WeakMap<Motion, Rig>();

function rigOf(motion: Motion): Rig {
  const known = rigs.get(motion);
  if (known) return known;
  const { names, parents } = motion;
  const torso = ["left_shoulder", "right_shoulder", "right_hip", "left_hip"].map((name) => names.indexOf(name));
  const limbs: Limb[] = [];
  names.forEach((name, to) => {
    const inTorso = /hip$|collar$|shoulder$|^head$/.test(name) || sideOf(name) === "middle";
    if (parents[to] >= 0 && !inTorso)
      limbs.push({ from: parents[to], to, radius: thickness(name), side: sideOf(name) });
  });
  const head = names.indexOf("head");
  const rig = { limbs, torso, head, neck: parents[head], yaw: headingOf(names, motion.joints), ...extentOf(motion) };
  rigs.set(motion, rig);
  return rig;
}

function extentOf({ joints, frames, names, fps }: Motion): Pick<Rig, "top" | "reach" | "key"> {
  const width = names.length * 3;
  let top = 0;
  let reach = 0;
  for (let o = 0; o < joints.length; o += width) {
    for (let i = 0; i < width; i += 3) {
      const x = joints[o + i] - joints[o];
      const z = joints[o + i + 2] - joints[o + 2];
      top = Math.max(top, joints[o + i + 1]);
      reach = Math.max(reach, Math.hypot(x, z));
    }
  }
  let farthest = -1;
  let key = 0;
  for (let t = 0; t < frames; t++) {
    const o = t * width;
    let distance = 0;
    for (let i = 0; i < width; i += 3) {
      distance += (joints[o + i] - joints[o] - joints[i] + joints[0]) ** 2 + (joints[o + i + 1] - joints[i + 1]) ** 2;
      distance += (joints[o + i + 2] - joints[o + 2] - joints[i + 2] + joints[2]) ** 2;
    }
    if (distance > farthest) [farthest, key] = [distance, t / fps];
  }
  return { top, reach, key };
}

/** Seconds of the frame that differs most from the first one: of most clips the still that tells most. */
export const keyTime = (motion: Motion): number => rigOf(motion).key;

/** Draws the figure at ``seconds`` into a canvas of ``width`` x ``height`` CSS pixels. */
export function drawFigure(
  context: CanvasRenderingContext2D,
  motion: Motion,
  seconds: number,
  width: number,
  height: number,
  inks: Inks,
): void {
  const rig = rigOf(motion);
  const pose = new Float32Array(motion.names.length * 3);
  poseAt(motion, seconds, pose);
  const scale = Math.min((0.84 * height) / Math.max(rig.top + 0.14, 1.3), (0.48 * width) / Math.max(rig.reach, 0.5));
  const cos = Math.cos(TURN - rig.yaw);
  const sin = Math.sin(TURN - rig.yaw);
  const [rootX, rootZ] = [pose[0], pose[2]];
  const floor = height * 0.9;
  const project = (x: number, y: number, z: number): Point => {
    const across = (x - rootX) * cos + (z - rootZ) * sin;
    const towards = -(x - rootX) * sin + (z - rootZ) * cos;
    return [width / 2 + across * scale, floor - (y * COS - towards * SIN) * scale, towards * COS + y * SIN];
  };
  const seen = motion.names.map((_, j) => project(pose[j * 3], pose[j * 3 + 1], pose[j * 3 + 2]));

  context.clearRect(0, 0, width, height);
  context.lineCap = context.lineJoin = "round";
  drawFloor(context, project, rootX, rootZ, inks, scale);
  drawShadow(context, rig, pose, project, inks, scale);

  const rim = Math.max(2, scale * 0.022);
  const stroke = (points: Point[], radius: number, colour: string, closed = false) => {
    context.beginPath();
    points.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
    if (closed) context.closePath();
    for (const [ink, wider] of [
      [inks.stage, rim],
      [colour, 0],
    ] as const) {
      context.strokeStyle = context.fillStyle = ink;
      context.lineWidth = 2 * radius * scale + wider;
      context.stroke();
      if (closed) context.fill();
    }
  };
  const disc = ([x, y]: Point, radius: number, colour: string) => {
    for (const [ink, wider] of [
      [inks.stage, rim / 2],
      [colour, 0],
    ] as const) {
      context.beginPath();
      context.arc(x, y, radius * scale + wider, 0, 2 * Math.PI);
      context.fillStyle = ink;
      context.fill();
    }
  };
  const near = (depth: number, colour: string) =>
    mix(colour, inks.stage, Math.min(Math.max(0.14 - depth * 0.45, 0), 0.34));
  const hips = seen[0][2];
  const shapes: { depth: number; draw: () => void }[] = rig.limbs.map(({ from, to, radius, side }) => {
    const depth = (seen[from][2] + seen[to][2]) / 2 - hips;
    return {
      depth,
      draw: () => stroke([seen[from], seen[to]], radius, near(depth - (pose[to * 3 + 1] - pose[1]) * SIN, inks[side])),
    };
  });
  const chest = rig.torso.reduce((sum, j) => sum + seen[j][2] / 4, 0) - hips;
  shapes.push({ depth: chest, draw: () => stroke(outline(rig.torso.map((j) => seen[j])), 0.075, inks.middle, true) });
  const crown = headCentre(rig, pose);
  const headSeen = project(...crown);
  shapes.push({
    depth: headSeen[2] - hips,
    draw: () => {
      stroke([seen[rig.neck], headSeen], 0.045, inks.middle);
      disc(headSeen, 0.105, inks.middle);
    },
  });
  for (const shape of shapes.sort((a, b) => a.depth - b.depth)) shape.draw();
}

/** The joint called head lies at the base of the skull: the middle of the head is farther along the neck. */
function headCentre({ head, neck }: Rig, pose: Float32Array): Point {
  const along = [0, 1, 2].map((axis) => pose[head * 3 + axis] - pose[neck * 3 + axis]);
  const length = Math.hypot(...along) || 1;
  return [0, 1, 2].map((axis) => pose[head * 3 + axis] + (along[axis] / length) * 0.08) as Point;
}

/** The torso's outline from its corners: narrower at the waist, and drawn in by what the round brush adds. */
function outline(corners: Point[]): Point[] {
  const [leftShoulder, rightShoulder, rightHip, leftHip] = corners;
  const middle = [0, 1].map((axis) => corners.reduce((sum, corner) => sum + corner[axis] / corners.length, 0));
  const towards = ([x, y, depth]: Point, across: number, along: number): Point => [
    x + (middle[0] - x) * across,
    y + (middle[1] - y) * along,
    depth,
  ];
  const between = (a: Point, b: Point): Point => [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2, a[2]];
  return [
    towards(leftShoulder, 0.28, 0.1),
    towards(rightShoulder, 0.28, 0.1),
    towards(between(rightShoulder, rightHip), 0.5, 0),
    towards(rightHip, 0.3, 0.1),
    towards(leftHip, 0.3, 0.1),
    towards(between(leftHip, leftShoulder), 0.5, 0),
  ];
}

type Point = [number, number, number]; // left, top, nearness
type Project = (x: number, y: number, z: number) => Point;

function drawFloor(
  context: CanvasRenderingContext2D,
  project: Project,
  rootX: number,
  rootZ: number,
  inks: Inks,
  scale: number,
): void {
  context.fillStyle = inks.muted;
  const size = Math.max(1, scale * 0.009);
  const first = (value: number) => Math.ceil((value - DOT_REACH) / DOT_STEP) * DOT_STEP;
  for (let x = first(rootX); x < rootX + DOT_REACH; x += DOT_STEP) {
    for (let z = first(rootZ); z < rootZ + DOT_REACH; z += DOT_STEP) {
      const fade = 1 - Math.hypot(x - rootX, z - rootZ) / DOT_REACH;
      if (fade <= 0) continue;
      const [left, top] = project(x, 0, z);
      context.globalAlpha = 0.8 * fade;
      context.fillRect(left - size, top - size / 2, 2 * size, size);
    }
  }
  context.globalAlpha = 1;
}

function drawShadow(
  context: CanvasRenderingContext2D,
  rig: Rig,
  pose: Float32Array,
  project: Project,
  inks: Inks,
  scale: number,
): void {
  context.beginPath();
  for (const { from, to } of [...rig.limbs, { from: rig.torso[0], to: rig.torso[2] }, { from: 0, to: rig.neck }]) {
    context.moveTo(...flat(project(pose[from * 3], 0, pose[from * 3 + 2])));
    context.lineTo(...flat(project(pose[to * 3], 0, pose[to * 3 + 2])));
  }
  context.globalAlpha = 0.13;
  context.strokeStyle = inks.ink;
  context.lineWidth = 0.14 * scale;
  context.stroke();
  context.globalAlpha = 1;
}

const flat = ([x, y]: Point): [number, number] => [x, y];
