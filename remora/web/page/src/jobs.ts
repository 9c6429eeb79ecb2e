/** Motions being made: started, followed by server-sent events, cancelled; newest first. */
import { signal } from "@preact/signals";
import { ask, type EditRequest, type GenerateRequest, get, type Job, path, post } from "./api";
import { notify } from "./notices";

export const jobs = signal<Job[]>([]);

export const isOver = ({ state }: Job): boolean => state !== "waiting" && state !== "running";

/** Jobs that were there before this page was opened. */
export async function findJobs(): Promise<void> {
  const { jobs: found } = await get<{ jobs: Job[] }>("/api/jobs");
  found.toReversed().forEach(put);
  found.filter((job) => !isOver(job)).forEach(follow);
}

export const generate = (request: GenerateRequest): Promise<void> => start("generate", request);
export const edit = (request: EditRequest): Promise<void> => start("edit", request);

async function start(kind: Job["kind"], request: GenerateRequest | EditRequest): Promise<void> {
  try {
    const job = await post<Job>(`/api/jobs/${kind}`, request);
    put(job);
    follow(job);
  } catch (fault) {
    notify((fault as Error).message, "error");
  }
}

export async function cancel(job: Job): Promise<void> {
  try {
    put((await (await ask(`/api/jobs/${path(job.job_id)}`, { method: "DELETE" })).json()) as Job);
  } catch (fault) {
    notify((fault as Error).message, "error");
  }
}

function put(job: Job): void {
  const others = jobs.value.filter(({ job_id }) => job_id !== job.job_id);
  const known = others.length < jobs.value.length;
  jobs.value = known ? jobs.value.map((old) => (old.job_id === job.job_id ? job : old)) : [job, ...jobs.value];
}

function follow({ job_id }: Job): void {
  const events = new EventSource(`/api/jobs/${path(job_id)}/events`);
  events.addEventListener("job", (event) => {
    const job = JSON.parse(event.data) as Job;
    put(job);
    if (isOver(job)) events.close();
  });
}
