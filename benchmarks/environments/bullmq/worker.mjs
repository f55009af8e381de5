// One worker process: node worker.mjs HOST PORT
import { Worker } from "bullmq";

const [host, port] = process.argv.slice(2);
const worker = new Worker("bench", async (job) => job.data.number, {
  connection: { host, port: Number(port), maxRetriesPerRequest: null },
  concurrency: 100,
  removeOnComplete: { age: 86400, count: 10000 },
});
worker.on("error", (error) => console.error(error));
