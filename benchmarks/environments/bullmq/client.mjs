// The calling side: node client.mjs HOST PORT reads lines [WAY, TASK, VALUES] as JSON, and answers each with the seconds
// that it took.
import { createInterface } from "node:readline";
import { Queue, QueueEvents } from "bullmq";

const [host, port] = process.argv.slice(2);
const connection = { host, port: Number(port), maxRetriesPerRequest: null };
const queue = new Queue("bench", { connection });
const events = new QueueEvents("bench", { connection });
await queue.waitUntilReady();
await events.waitUntilReady();
const BATCH = 500;

const ways = {
  async one(task, values) {
    for (const value of values) await queue.add(task, { value });
  },
  async bulk(task, values) {
    const opts = task === "fail" ? { attempts: 2 } : {};
    for (let at = 0; at < values.length; at += BATCH)
      await queue.addBulk(values.slice(at, at + BATCH).map((value) => ({ name: task, data: { value }, opts })));
  },
  async call(task, [value]) {
    const job = await queue.add(task, { value });
    const answer = await job.waitUntilFinished(events, 60000);
    if (answer !== value) throw new Error(`the result of ${value} is ${answer}`);
  },
};

async function seconds(way, task, values) {
  const start = process.hrtime.bigint();
  await ways[way](task, values);
  return Number(process.hrtime.bigint() - start) / 1e9;
}

console.log("ready");
for await (const line of createInterface({ input: process.stdin })) console.log(await seconds(...JSON.parse(line)));
process.exit(0);
