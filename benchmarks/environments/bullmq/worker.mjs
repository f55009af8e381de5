// One worker process: node worker.mjs HOST PORT
import { setTimeout } from "node:timers/promises";
import { Worker } from "bullmq";

const [host, port] = process.argv.slice(2);
const PAUSE_MS = 10;

async function run(job) {
  if (job.name === "pause") await setTimeout(PAUSE_MS);
  if (job.name === "after") return Object.values(await job.getChildrenValues())[0];
  if (job.name === "total")
    return Object.values(await job.getChildrenValues()).reduce((sum, value) => sum + value, 0);
  if (job.name === "fail" && job.attemptsMade === 0) throw new Error("the first attempt fails");
  return job.data.value;
}

const worker = new Worker("bench", run, {
  connection: { host, port: Number(port), maxRetriesPerRequest: null },
  concurrency: 100,
  removeOnComplete: { age: 86400, count: 10000 },
});
worker.on("error", (error) => console.error(error));
