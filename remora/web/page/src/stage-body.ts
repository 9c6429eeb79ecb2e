/** One figure of the stage: capsules or bones, its path on the floor, discs where its feet stand. */
import {
  CapsuleGeometry,
  CatmullRomCurve3,
  CircleGeometry,
  Group,
  Mesh,
  MeshBasicMaterial,
  MeshStandardMaterial,
  Quaternion,
  type Scene,
  SphereGeometry,
  TubeGeometry,
  Vector3,
} from "three";
import { type Side, sideOf, thickness } from "./body";
import { type Motion, poseAt } from "./frames";
import type { Inks } from "./theme";

export interface StageOptions {
  skeleton: boolean; // thin bones and joints instead of capsules
  path: boolean;
  contacts: boolean;
  follow: boolean;
  beside: boolean; // the ghost next to the body instead of inside it
}

export const UP = new Vector3(0, 1, 0);
const GHOST_OPACITY = 0.34;

export class Body {
  readonly group = new Group();
  readonly root = new Vector3();
  private readonly pose: Float32Array;
  private readonly limbs: { mesh: Mesh; from: number; to: number; side: Side; radius: number }[] = [];
  private readonly joints: Mesh[] = [];
  private readonly head: Mesh;
  private readonly path: Mesh;
  private readonly feet: { mesh: Mesh; joint: number; bit: number }[] = [];
  private readonly materials: Record<Side, MeshStandardMaterial>;
  private readonly marks: MeshBasicMaterial;
  private contacts = true;
  private shown = -1;

  constructor(
    readonly motion: Motion,
    scene: Scene,
    inks: Inks,
    options: StageOptions,
    private readonly faint: boolean,
  ) {
    this.pose = new Float32Array(motion.names.length * 3);
    poseAt(motion, 0, this.pose);
    const material = () =>
      new MeshStandardMaterial({ roughness: 0.62, transparent: faint, opacity: faint ? GHOST_OPACITY : 1 });
    this.materials = { left: material(), right: material(), middle: material() };
    this.marks = new MeshBasicMaterial({ transparent: true, opacity: faint ? 0.3 : 0.85 });
    motion.names.forEach((name, to) => {
      const from = motion.parents[to];
      const side = /hip$|collar$|shoulder$/.test(name) ? "middle" : sideOf(name);
      if (from >= 0) {
        const radius = thickness(name);
        this.limbs.push({
          mesh: this.add(new Mesh(new CapsuleGeometry(radius, this.length(from, to), 6, 14), this.materials[side])),
          from,
          to,
          side,
          radius,
        });
      }
      this.joints.push(this.add(new Mesh(new SphereGeometry(0.024, 12, 8), this.materials[side])));
    });
    this.head = this.add(new Mesh(new SphereGeometry(0.105, 24, 16), this.materials.middle));
    this.head.scale.set(0.9, 1.16, 1);
    this.path = this.add(new Mesh(pathOf(motion), this.marks));
    const spot = new CircleGeometry(0.075, 28);
    ["left_ankle", "left_foot", "right_ankle", "right_foot"].forEach((name, bit) => {
      const joint = motion.names.indexOf(name);
      const mesh = this.add(new Mesh(spot, this.marks));
      mesh.rotation.x = -Math.PI / 2;
      if (joint >= 0) this.feet.push({ mesh, joint, bit });
      else mesh.visible = false;
    });
    for (const mesh of [...this.limbs.map((limb) => limb.mesh), this.head]) mesh.castShadow = !faint;
    this.dress(inks);
    this.set(options);
    scene.add(this.group);
  }

  set(options: StageOptions): void {
    for (const { mesh, radius } of this.limbs) {
      const thin = options.skeleton ? 0.014 / radius : 1;
      mesh.scale.set(thin, 1, thin);
    }
    for (const joint of this.joints) joint.visible = options.skeleton;
    this.path.visible = options.path;
    this.contacts = options.contacts;
    this.shown = -1;
  }

  dress(inks: Inks): void {
    for (const side of ["left", "right", "middle"] as const)
      this.materials[side].color.set(this.faint ? inks.accent : inks[side]);
    this.marks.color.set(inks.accent);
  }

  /** Takes the pose of a moment; whether anything moved. */
  move(seconds: number): boolean {
    if (seconds === this.shown) return false;
    this.shown = seconds;
    poseAt(this.motion, seconds, this.pose);
    for (const { mesh, from, to } of this.limbs) span(mesh, this.at(from), this.at(to));
    this.joints.forEach((mesh, joint) => mesh.position.copy(this.at(joint)));
    const head = this.motion.names.indexOf("head");
    const neck = this.at(this.motion.parents[head]);
    const along = this.at(head).sub(neck).normalize();
    this.head.position.copy(this.at(head)).addScaledVector(along, 0.08);
    this.head.quaternion.setFromUnitVectors(UP, along);
    const frame = Math.min(Math.round(seconds * this.motion.fps), this.motion.frames - 1);
    for (const { mesh, joint, bit } of this.feet) {
      mesh.visible = this.contacts && (this.motion.contacts[frame] & (1 << bit)) !== 0;
      mesh.position.set(this.pose[joint * 3], 0.014, this.pose[joint * 3 + 2]);
    }
    this.root.copy(this.at(0)).applyMatrix4(this.group.matrixWorld);
    return true;
  }

  remove(scene: Scene): void {
    scene.remove(this.group);
    this.group.traverse((part) => part instanceof Mesh && part.geometry.dispose());
    for (const material of [...Object.values(this.materials), this.marks]) material.dispose();
  }

  private add(mesh: Mesh): Mesh {
    this.group.add(mesh);
    return mesh;
  }

  private at(joint: number): Vector3 {
    return new Vector3(this.pose[joint * 3], this.pose[joint * 3 + 1], this.pose[joint * 3 + 2]);
  }

  private length(from: number, to: number): number {
    return Math.max(this.at(from).distanceTo(this.at(to)), 0.01);
  }
}

/** Lays a limb between two points. */
function span(mesh: Mesh, from: Vector3, to: Vector3): void {
  mesh.position.lerpVectors(from, to, 0.5);
  const along = to.sub(from);
  if (along.lengthSq() > 0) mesh.quaternion.copy(new Quaternion().setFromUnitVectors(UP, along.normalize()));
}

const PATH_POINTS = 120;

/** The root's way over the floor, as a flat ribbon. */
function pathOf({ joints, frames, names }: Motion): TubeGeometry {
  const width = names.length * 3;
  const step = Math.max(1, Math.floor(frames / PATH_POINTS));
  const points: Vector3[] = [];
  for (let t = 0; t < frames; t += step) {
    const point = new Vector3(joints[t * width], 0, joints[t * width + 2]);
    if (!points.length || point.distanceTo(points[points.length - 1]) > 0.02) points.push(point);
  }
  if (points.length < 2) points.push(points[0].clone().add(new Vector3(0.001, 0, 0)));
  const tube = new TubeGeometry(new CatmullRomCurve3(points), points.length * 3, 0.012, 6);
  tube.scale(1, 0.2, 1);
  tube.translate(0, 0.004, 0);
  return tube;
}
