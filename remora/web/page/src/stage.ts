/**
 * The viewer's stage in three dimensions: one body, perhaps a ghost, the floor, the path, the feet's contacts. Draws only
 * when something changed. Loaded when the first clip is opened, so that three.js is no part of the first picture.
 */
import {
  AmbientLight,
  Color,
  type DirectionalLight,
  Fog,
  Group,
  HemisphereLight,
  PCFShadowMap,
  PerspectiveCamera,
  Scene,
  Vector3,
  WebGLRenderer,
} from "three";
import { OrbitControls } from "three/addons/controls/OrbitControls.js";
import { headingOf } from "./body";
import type { Motion } from "./frames";
import { Body, type StageOptions, UP } from "./stage-body";
import { floorOf, sun } from "./stage-floor";
import type { Inks } from "./theme";

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

  constructor(
    canvas: HTMLCanvasElement,
    private inks: Inks,
    private options: StageOptions,
  ) {
    this.renderer = new WebGLRenderer({ canvas, antialias: true });
    this.renderer.setPixelRatio(Math.min(devicePixelRatio, 2));
    this.renderer.shadowMap.enabled = true;
    this.renderer.shadowMap.type = PCFShadowMap;
    this.controls = new OrbitControls(this.camera, canvas);
    this.controls.maxPolarAngle = Math.PI * 0.495;
    this.controls.minDistance = 1;
    this.controls.maxDistance = 25;
    this.controls.addEventListener("change", () => (this.stale = true));
    this.scene.add(
      this.floor,
      new HemisphereLight(0xffffff, 0x8899aa, 1.6),
      new AmbientLight(0xffffff, 0.35),
      ...sun(),
    );
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
      own.joints[0] - start.x + Math.cos(heading) * aside,
      0,
      own.joints[2] - start.z - Math.sin(heading) * aside,
    );
  }
}
