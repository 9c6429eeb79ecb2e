/** What the body stands on and what lights it. */
import {
  CanvasTexture,
  DirectionalLight,
  Mesh,
  MeshBasicMaterial,
  type Object3D,
  PlaneGeometry,
  RepeatWrapping,
  ShadowMaterial,
  SRGBColorSpace,
} from "three";
import type { Inks } from "./theme";

const FLOOR_M = 60;
const TILE_M = 0.5;

/** Tiles of half a metre, and what the body's shadow falls on. */
export function floorOf(inks: Inks): Object3D[] {
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

export function sun(): Object3D[] {
  const light = new DirectionalLight(0xffffff, 1.7);
  light.name = "sun";
  light.castShadow = true;
  light.shadow.mapSize.set(1024, 1024);
  light.shadow.radius = 5;
  Object.assign(light.shadow.camera, { left: -2.6, right: 2.6, top: 2.6, bottom: -2.6, near: 0.5, far: 12 });
  return [light, light.target];
}
