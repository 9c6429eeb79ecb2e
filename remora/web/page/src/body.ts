/** The body's parts: their names, their colours, and which joint belongs to which. Left is warm, right is cool. */

export type Part = "root" | "left_leg" | "right_leg" | "backbone" | "left_arm" | "right_arm";
export type Side = "left" | "right" | "middle";

export const PARTS: Part[] = ["left_arm", "right_arm", "backbone", "root", "left_leg", "right_leg"];
export const PART_NAMES: Record<string, string> = {
  whole: "whole body",
  root: "path and hips",
  backbone: "torso and head",
  left_arm: "left arm",
  right_arm: "right arm",
  left_leg: "left leg",
  right_leg: "right leg",
};

export function sideOf(name: string): Side {
  if (name.startsWith("left")) return "left";
  return name.startsWith("right") ? "right" : "middle";
}

/** Radius of the limb that ends at a joint, metres. */
export function thickness(joint: string): number {
  if (/knee/.test(joint)) return 0.068;
  if (/ankle/.test(joint)) return 0.052;
  if (/foot|toe/.test(joint)) return 0.04;
  if (/elbow/.test(joint)) return 0.046;
  if (/wrist/.test(joint)) return 0.038;
  if (/hip/.test(joint)) return 0.085;
  if (/collar|shoulder/.test(joint)) return 0.07;
  if (/neck|head/.test(joint)) return 0.05;
  return 0.098;
}

/** Heading of a pose [J, 3], radians about y, 0 where it faces +z. */
export function headingOf(names: string[], pose: Float32Array, at = 0): number {
  const left = at + names.indexOf("left_hip") * 3;
  const right = at + names.indexOf("right_hip") * 3;
  return Math.atan2(-(pose[left + 2] - pose[right + 2]), pose[left] - pose[right]);
}
