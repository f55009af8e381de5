// The calling side: node client.mjs HOST PORT reads lines "WAY FIRST COUNT" and answers each with the seconds it took;
// for the way "call", with the seconds of each call.
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
  async one(numbers) {
    for (const number of numbers) await queue.add("echo", { number });
  },
  async bulk(numbers) {
    for (let at = 0; at < numbers.length; at += BATCH)
      await queue.addBulk(numbers.slice(at, at + BATCH).map((number) => ({ name: "echo", data: { number } })));
  },
  async call([number]) {
    const job = await queue.add("echo", { number });
    const answer = await job.waitUntilFinished(events, 60000);
    if (answer !== number) throw new Error(`the result of ${number} is ${answer}`);
  },
};

async function seconds(way, numbers) {
  const start = process.hrtime.bigint();
  await ways[way](numbers);
  return Number(process.hrtime.bigint() - start) / 1e9;
}

console.log("ready");
for await (const line of createInterface({ input: process.stdin })) {
  const [way, first, count] = line.split(" ");
  const numbers = Array.from({ length: Number(count) }, (_, at) => Number(first) + at);
  console.log(JSON.stringify(await seconds(way, numbers)));
}
process.exit(0);
