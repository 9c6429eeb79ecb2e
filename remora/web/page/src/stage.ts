/**
 * The viewer's stage in three dimensions: one body, perhaps a ghost, the floor, the path, the feet's contacts. Draws only
 * when something changed. Loaded when the first clip is opened, so that three.js is no part of the first picture.
 */
import {
  AmbientLight, CanvasTexture, CapsuleGeometry, CatmullRomCurve3, CircleGeometry, Color, DirectionalLight, Fog, Group,
  HemisphereLight, Mesh, MeshBasicMaterial, MeshStandardMaterial, Object3D, PCFShadowMap, PerspectiveCamera, PlaneGeometry,
  Quaternion, RepeatWrapping, Scene, ShadowMaterial, SphereGeometry, SRGBColorSpace, TubeGeometry, Vector3, WebGLRenderer,
} from "three";
import { OrbitControls } from "three/addons/controls/OrbitControls.js";
import { headingOf, sideOf, thickness } from "./body";
import { type Motion, poseAt } from "./frames";
import type { Inks } from "./theme";

export interface StageOptions {
  skeleton: boolean; // thin bones and joints instead of capsules
  path: boolean;
  contacts: boolean;
  follow: boolean;
  beside: boolean; // the ghost next to the body instead of inside it
}

const UP = new Vector3(0, 1, 0);
const GHOST_OPACITY = 0.34;
const BESIDE_M = 1.1;

export class Stage {
  private readonly renderer: WebGLRenderer;
  private readonly scene = new Scene();
  private readonly camera = new PerspectiveCamera(32, 1, 0.1, 80);
  private readonly controls: OrbitControls;
  private readonly floor = new Group();
  private body: Body | null = null;
  private ghost: Body | null = null;
  private stale = true;

  constructor(canvas: HTMLCanvasElement, private inks: Inks, private options: StageOptions) {
    this.renderer = new WebGLRenderer({ canvas, antialias: true });
    this.renderer.setPixelRatio(Math.min(devicePixelRatio, 2));
    this.renderer.shadowMap.enabled = true;
    this.renderer.shadowMap.type = PCFShadowMap;
    this.controls = new OrbitControls(this.camera, canvas);
    this.controls.maxPolarAngle = Math.PI * 0.495;
    this.controls.minDistance = 1;
    this.controls.maxDistance = 25;
    this.controls.addEventListener("change", () => (this.stale = true));
    this.scene.add(this.floor, new HemisphereLight(0xffffff, 0x8899aa, 1.6), new AmbientLight(0xffffff, 0.35), ...sun());
    this.dress(inks);
  }

  /** The clip, and the one to compare it with: turned and moved so that both start on the same spot, facing alike. */
  show(motion: Motion, ghost: Motion | null): void {
    const first = this.body === null;
    for (const old of [this.body, this.ghost]) old?.remove(this.scene);
    this.body = new Body(motion, this.scene, this.inks, this.options, false);
    this.ghost = ghost && new Body(ghost, this.scene, this.inks, this.options, true);
    this.align();
    if (first || !ghost) this.look(motion);
    this.stale = true;
  }

  set(options: StageOptions): void {
    this.options = options;
    for (const body of [this.body, this.ghost]) body?.set(options);
    this.align();
    this.stale = true;
  }

  dress(inks: Inks): void {
    this.inks = inks;
    const back = new Color(inks.stage);
    this.scene.background = back;
    this.scene.fog = new Fog(back, 7, 17);
    this.floor.clear();
    this.floor.add(...floorOf(inks));
    for (const body of [this.body, this.ghost]) body?.dress(inks);
    this.stale = true;
  }

  resize(width: number, height: number): void {
    this.renderer.setSize(width, height, false);
    this.camera.aspect = width / height;
    this.camera.updateProjectionMatrix();
    this.stale = true;
  }

  /** Shows the moment; draws if anything is new. */
  draw(seconds: number): void {
    for (const body of [this.body, this.ghost]) this.stale = body?.move(seconds) || this.stale;
    if (!this.body || !this.stale) return;
    if (this.options.follow) this.walkAlong(this.body.root);
    this.renderer.render(this.scene, this.camera);
    this.stale = false;
  }

  dispose(): void {
    this.controls.dispose();
    this.renderer.dispose();
    this.renderer.forceContextLoss();
  }

  private walkAlong(root: Vector3): void {
    const step = new Vector3(root.x - this.controls.target.x, 0, root.z - this.controls.target.z);
    this.controls.target.add(step);
    this.camera.position.add(step);
    this.camera.lookAt(this.controls.target);
    const light = this.scene.getObjectByName("sun")!;
    light.position.add(step);
    (light as DirectionalLight).target.position.add(step);
  }

  private look(motion: Motion): void {
    const yaw = headingOf(motion.names, motion.joints) + 0.56;
    const [x, z] = [motion.joints[0], motion.joints[2]];
    this.controls.target.set(x, 0.9, z);
    this.camera.position.set(x + Math.sin(yaw) * 4, 1.65, z + Math.cos(yaw) * 4);
    const light = this.scene.getObjectByName("sun") as DirectionalLight;
    light.position.set(x + 1.8, 5, z + 2.4);
    light.target.position.set(x, 0, z);
    this.controls.update();
  }

  private align(): void {
    if (!this.body || !this.ghost) return;
    const [own, other] = [this.body.motion, this.ghost.motion];
    const heading = headingOf(own.names, own.joints);
    const turn = heading - headingOf(other.names, other.joints);
    const start = new Vector3(other.joints[0], 0, other.joints[2]).applyAxisAngle(UP, turn);
    const aside = this.options.beside ? BESIDE_M : 0;
    this.ghost.group.rotation.y = turn;
    this.ghost.group.position.set(
      own.joints[0] - start.x + Math.cos(heading) * aside, 0, own.joints[2] - start.z - Math.sin(heading) * aside,
    );
  }
}

const FLOOR_M = 60;
const TILE_M = 0.5;

/** Tiles of half a metre, and what the body's shadow falls on. */
function floorOf(inks: Inks): Object3D[] {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 128;
  const context = tile.getContext("2d")!;
  context.fillStyle = inks.stage;
  context.fillRect(0, 0, 128, 128);
  context.fillStyle = inks.grid;
  context.fillRect(0, 0, 128, 2);
  context.fillRect(0, 0, 2, 128);
  const map = new CanvasTexture(tile);
  map.colorSpace = SRGBColorSpace;
  map.wrapS = map.wrapT = RepeatWrapping;
  map.repeat.setScalar(FLOOR_M / TILE_M);
  map.anisotropy = 8;
  const flat = new PlaneGeometry(FLOOR_M, FLOOR_M).rotateX(-Math.PI / 2);
  const tiles = new Mesh(flat, new MeshBasicMaterial({ map }));
  const shadow = new Mesh(flat, new ShadowMaterial({ opacity: 0.24 }));
  tiles.position.y = -0.004;
  shadow.receiveShadow = true;
  return [tiles, shadow];
}

function sun(): Object3D[] {
  const light = new DirectionalLight(0xffffff, 1.7);
  light.name = "sun";
  light.castShadow = true;
  light.shadow.mapSize.set(1024, 1024);
  light.shadow.radius = 5;
  Object.assign(light.shadow.camera, { left: -2.6, right: 2.6, top: 2.6, bottom: -2.6, near: 0.5, far: 12 });
  return [light, light.target];
}

/** One figure: capsules or bones, its path on the floor, discs where its feet stand. */
class Body {
  readonly group = new Group();
  readonly root = new Vector3();
  private readonly pose: Float32Array;
  private readonly limbs: { mesh: Mesh; from: number; to: number; side: "left" | "right" | "middle"; radius: number }[] = [];
  private readonly joints: Mesh[] = [];
  private readonly head: Mesh;
  private readonly path: Mesh;
  private readonly feet: { mesh: Mesh; joint: number; bit: number }[] = [];
  private readonly materials: Record<"left" | "right" | "middle", MeshStandardMaterial>;
  private readonly marks: MeshBasicMaterial;
  private shown = -1;

  constructor(readonly motion: Motion, scene: Scene, inks: Inks, options: StageOptions, private readonly faint: boolean) {
    this.pose = new Float32Array(motion.names.length * 3);
    poseAt(motion, 0, this.pose);
    const material = () => new MeshStandardMaterial({ roughness: 0.62, transparent: faint, opacity: faint ? GHOST_OPACITY : 1 });
    this.materials = { left: material(), right: material(), middle: material() };
    this.marks = new MeshBasicMaterial({ transparent: true, opacity: faint ? 0.3 : 0.85 });
    motion.names.forEach((name, to) => {
      const from = motion.parents[to];
      const side = /hip$|collar$|shoulder$/.test(name) ? "middle" : sideOf(name);
      if (from >= 0) {
        const radius = thickness(name);
        this.limbs.push({ mesh: this.add(new Mesh(new CapsuleGeometry(radius, this.length(from, to), 6, 14), this.materials[side])), from, to, side, radius });
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
  private contacts = true;

  dress(inks: Inks): void {
    for (const side of ["left", "right", "middle"] as const) this.materials[side].color.set(this.faint ? inks.accent : inks[side]);
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
