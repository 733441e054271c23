// BentoCache's side of benches/redis_cache.rs: the same figures, of the same value, through the same Redis.
//
//   node benches/peers/bentocache.mjs PORT
//
// Prints a line for each figure: its name, a tab, nanoseconds.
import { BentoCache, bentostore } from 'bentocache'
import { memoryDriver } from 'bentocache/drivers/memory'
import { redisBusDriver, redisDriver } from 'bentocache/drivers/redis'

const connection = { host: '127.0.0.1', port: Number(process.argv[2]) }
const tiered = () =>
  bentostore()
    .useL1Layer(memoryDriver({ maxItems: 10_000 }))
    .useL2Layer(redisDriver({ connection }))
    .useBus(redisBusDriver({ connection }))
const node = () =>
  new BentoCache({
    default: 'tiered',
    stores: { tiered: tiered(), shared: bentostore().useL2Layer(redisDriver({ connection })) },
  })

const value = Array.from({ length: 100 }, (_, number) => ({ foo: 'bar', number }))
const ttl = '60s'
const factory = async () => value

async function perCall(name, calls, call) {
  for (let warm = 0; warm < calls / 10; warm++) await call()
  const began = process.hrtime.bigint()
  for (let made = 0; made < calls; made++) await call()
  console.log(`${name}\t${Number(process.hrtime.bigint() - began) / calls}`)
}

const cache = node()
await perCall('l1_hit', 50_000, () => cache.getOrSet({ key: 'l1', factory, ttl }))
await perCall('l2_hit', 10_000, () => cache.use('shared').getOrSet({ key: 'l2', factory, ttl }))
await perCall('tiered_set', 5_000, () => cache.set({ key: 'set', value, ttl }))

let loads = 0
const slow = async () => {
  loads += 1
  await new Promise((resolve) => setTimeout(resolve, 50))
  return value
}
const other = node()
const began = process.hrtime.bigint()
await Promise.all(
  Array.from({ length: 10_000 }, (_, caller) => (caller % 2 ? cache : other).getOrSet({ key: 'stampede', factory: slow, ttl })),
)
console.log(`stampede\t${Number(process.hrtime.bigint() - began)}`)
console.log(`stampede_loads\t${loads}`)

await Promise.all([cache.disconnectAll(), other.disconnectAll()])
process.exit(0)
