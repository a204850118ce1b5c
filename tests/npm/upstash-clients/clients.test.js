// Upstash's own clients against the look-alike of Upstash: what they need of the real one, the look-alike must give.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Ratelimit } from "@upstash/ratelimit";
import { Redis } from "@upstash/redis";

const url = process.env.UPSTASH_REDIS_REST_URL;
const token = process.env.UPSTASH_REDIS_REST_TOKEN;
const redis = new Redis({ url, token, enableTelemetry: false, retry: false });

test("values come back as they went", async () => {
  assert.equal(await redis.set("text", "grüße 👋"), "OK");
  assert.equal(await redis.get("text"), "grüße 👋");
  assert.equal(await redis.get("none"), null);
  assert.equal(await redis.incrby("number", 7), 7);
  await redis.set("object", { a: [1, "two", null] });
  assert.deepEqual(await redis.get("object"), { a: [1, "two", null] });
  await redis.hset("hash", { one: 1, two: "zwei" });
  assert.deepEqual(await redis.hgetall("hash"), { one: 1, two: "zwei" });
  assert.equal(await redis.getex("text", { px: 5000 }), "grüße 👋");
  const left = await redis.pttl("text");
  assert.ok(left > 0 && left <= 5000, `${left}`);
  assert.equal(await redis.ping(), "PONG");
});

test("pipelines and transactions", async () => {
  const pipeline = redis.pipeline().set("p", "1").incr("p").get("p");
  assert.deepEqual(await pipeline.exec(), ["OK", 2, 2]);
  const transaction = redis.multi().set("m", "x").get("m").del("m");
  assert.deepEqual(await transaction.exec(), ["OK", "x", 1]);
  const together = await Promise.all([redis.incr("t"), redis.incr("t"), redis.incr("t")]);
  assert.deepEqual(together.sort(), [1, 2, 3]);
});

test("scripts", async () => {
  assert.deepEqual(await redis.eval("return {KEYS[1], ARGV[1], 3}", ["k"], ["a"]), ["k", "a", 3]);
  await assert.rejects(redis.evalsha("0".repeat(40), [], []), /NOSCRIPT/);
  const script = redis.createScript("return redis.call('INCRBY', KEYS[1], ARGV[1])");
  assert.equal(await script.exec(["s"], ["2"]), 2);
  assert.equal(await script.exec(["s"], ["2"]), 4);
  assert.equal(await script.evalsha(["s"], ["2"]), 6);
});

test("errors", async () => {
  await redis.set("word", "word");
  await assert.rejects(redis.incr("word"), /not an integer/);
  const stranger = new Redis({ url, token: "wrong", enableTelemetry: false, retry: false });
  await assert.rejects(stranger.get("text"), /WRONGPASS/);
});

for (const [name, limiter] of Object.entries({
  fixedWindow: Ratelimit.fixedWindow(5, "1 h"),
  slidingWindow: Ratelimit.slidingWindow(5, "1 h"),
  tokenBucket: Ratelimit.tokenBucket(1, "1 h", 5),
  cachedFixedWindow: Ratelimit.cachedFixedWindow(5, "1 h"),
})) {
  test(`the limiter ${name} lets five through`, async () => {
    const ratelimit = new Ratelimit({ redis, limiter, prefix: name, ephemeralCache: name === "cachedFixedWindow" ? new Map() : false });
    const allowed = [];
    for (let turn = 0; turn < 7; turn++) {
      const { success, reason } = await ratelimit.limit("somebody");
      assert.notEqual(reason, "timeout");
      allowed.push(success);
    }
    assert.deepEqual(allowed, [true, true, true, true, true, false, false]);
  });
}
