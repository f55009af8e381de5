// The calling side: node client.mjs HOST PORT reads lines [WAY, TASK, VALUES] as JSON, and answers each with the seconds
// that it took.
import { createInterface } from "node:readline";
import { FlowProducer, Queue, QueueEvents } from "bullmq";

const [host, port] = process.argv.slice(2);
const connection = { host, port: Number(port), maxRetriesPerRequest: null };
const queue = new Queue("bench", { connection });
const events = new QueueEvents("bench", { connection });
const flows = new FlowProducer({ connection });
await queue.waitUntilReady();
await events.waitUntilReady();
await flows.waitUntilReady();
const BATCH = 500;

const job = (name, rest) => ({ name, queueName: "bench", ...rest });

async function waitFor(job, expected) {
  const answer = await job.waitUntilFinished(events, 60000);
  if (answer !== expected) throw new Error(`the result of ${job.name} is ${answer}, not ${expected}`);
}

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
    await waitFor(await queue.add(task, { value }), value);
  },
  async chain(task, [value]) {
    const first = job(task, { data: { value } });
    const flow = await flows.add(job("after", { children: [job("after", { children: [first] })] }));
    await waitFor(flow.job, value);
  },
  async chord(task, values) {
    const children = values.map((value) => job(task, { data: { value } }));
    const flow = await flows.add(job("total", { children }));
    await waitFor(flow.job, values.reduce((sum, value) => sum + value, 0));
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
