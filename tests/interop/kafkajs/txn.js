// Transactions with kafkajs, see ../transactions/scenario.py. BOOTSTRAP in the environment.
//   txn.js jobs TOPIC ID                  one line per job, `ok|FAIL job detail`
//   txn.js chain INPUT OUTPUT GROUP ID    consumes, produces and commits in transactions, until SIGTERM
//   txn.js read committed|uncommitted PARTITIONS TOPIC...
const { Kafka, CompressionTypes, CompressionCodecs, logLevel } = require('kafkajs')

const PATIENCE_MS = 60000
const READ_PATIENCE_MS = 120000
const LATE_MS = 4000
const kafka = new Kafka({ brokers: [process.env.BOOTSTRAP], logLevel: logLevel.NOTHING, connectionTimeout: 2000,
  retry: { initialRetryTime: 50, maxRetryTime: 500, retries: 50 } })
let failures = 0
// What franz-go compresses with unless it is told otherwise.
CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy')

async function job(name, body) {
  let line
  try {
    line = `ok ${name} ${await body()}`
  } catch (error) {
    failures++
    line = `FAIL ${name} ${error}`
  }
  console.log(line.replace(/\n/g, ' '))
}

async function producerOf(transactionalId, transactionTimeout = PATIENCE_MS) {
  const producer = kafka.producer({ transactionalId, transactionTimeout, idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  return producer
}

const records = (partition, values) => values.map(value => ({ partition, value }))
const sleep = ms => new Promise(resolve => setTimeout(resolve, ms))

async function jobs(topic, id) {
  const first = await producerOf(id)
  await job('commit', async () => {
    const transaction = await first.transaction()
    await transaction.send({ topic, messages: [...records(0, ['c0', 'c1', 'c2']), ...records(1, ['c3'])] })
    await transaction.commit()
    return 'two partitions'
  })
  await job('abort', async () => {
    const transaction = await first.transaction()
    await transaction.send({ topic, messages: records(0, ['a0', 'a1']) })
    await transaction.abort()
    return 'after its records were acknowledged'
  })
  await job('empty', async () => {
    await (await first.transaction()).commit()
    await (await first.transaction()).abort()
    return 'committed and aborted'
  })
  // it cannot ask for the last stable offset
  const transaction = await first.transaction()
  await transaction.send({ topic, messages: records(0, ['o0']) })
  await transaction.commit()
  await job('fenced', async () => {
    const old = await first.transaction()
    await old.send({ topic, messages: records(0, ['f0']) })
    const second = await producerOf(id)
    const next = await second.transaction()
    let seen
    try {
      await old.commit()
    } catch (error) {
      seen = error.type || `${error}`
    }
    if (!['INVALID_PRODUCER_EPOCH', 'PRODUCER_FENCED'].includes(seen)) throw new Error(`instead of fenced: ${seen || 'committed'}`)
    await next.send({ topic, messages: records(0, ['s0']) })
    await next.commit()
    await second.disconnect()
    return seen
  })
  await job('timeout', async () => {
    const late = await producerOf(`${id}-late`, 1000)
    const transaction = await late.transaction()
    await transaction.send({ topic, messages: records(1, ['t0']) })
    await sleep(LATE_MS)
    try {
      await transaction.commit()
    } catch (error) {
      return error.type || `${error}`
    }
    throw new Error('committed')
  })
  await job('end', async () => {
    const third = await producerOf(id)
    const transaction = await third.transaction()
    await transaction.send({ topic, messages: [...records(0, ['end']), ...records(1, ['end'])] })
    await transaction.commit()
    return 'by a third producer'
  })
}

async function chain(input, output, groupId, id) {
  let leaving = false
  process.on('SIGTERM', () => { leaving = true })
  let number = 0
  while (!leaving) {
    let failed = false
    const producer = await producerOf(id)
    const consumer = kafka.consumer({ groupId, sessionTimeout: 6000, heartbeatInterval: 1000, rebalanceTimeout: 6000, maxWaitTimeInMs: 200,
      retry: { initialRetryTime: 50, maxRetryTime: 500, retries: 50, restartOnFailure: async () => false } })
    consumer.on(consumer.events.CRASH, ({ payload }) => {
      console.error(`again: ${payload.error}`)
      failed = true
    })
    await consumer.connect()
    await consumer.subscribe({ topics: [input], fromBeginning: true })
    await consumer.run({
      autoCommit: false,
      eachBatchAutoResolve: false,
      eachBatch: async ({ batch, resolveOffset, heartbeat }) => {
        if (failed || leaving) return
        try {
          const done = await transform(producer, batch, output, groupId, number++ % 4 === 3)
          if (done) resolveOffset(batch.lastOffset())
          else consumer.seek({ topic: input, partition: batch.partition, offset: batch.firstOffset() })
        } catch (error) {
          console.error(`again: ${error}`)
          failed = true
        }
        await heartbeat()
      },
    })
    while (!leaving && !failed) await sleep(50)
    await consumer.disconnect()
    await producer.disconnect()
  }
}

// Every fourth transaction is aborted and its records are consumed again.
async function transform(producer, batch, output, consumerGroupId, aborts) {
  const transaction = await producer.transaction()
  try {
    const messages = batch.messages.map(({ value }) => ({ partition: batch.partition, value: aborts ? 'aborted' : value }))
    if (messages.length > 0) await transaction.send({ topic: output, messages })
    const offset = (BigInt(batch.lastOffset()) + 1n).toString()
    await transaction.sendOffsets({ consumerGroupId, topics: [{ topic: batch.topic, partitions: [{ partition: batch.partition, offset }] }] })
    if (aborts) await transaction.abort()
    else await transaction.commit()
  } catch (error) {
    if (transaction.isActive()) await transaction.abort().catch(() => {})
    throw error
  }
  console.log(`${aborts ? 'aborted' : 'done'} ${batch.messages.length}`)
  return !aborts
}

// Until every partition of every topic has shown a record `end`.
async function read(isolation, partitions, ...topics) {
  const consumer = kafka.consumer({ groupId: `reader-${process.pid}-${Date.now()}`, readUncommitted: isolation === 'uncommitted', maxWaitTimeInMs: 200 })
  const open = new Set(topics.flatMap(topic => Array.from({ length: Number(partitions) }, (_, partition) => `${topic} ${partition}`)))
  let crashed
  consumer.on(consumer.events.CRASH, ({ payload }) => { if (!payload.restart) crashed = payload.error })
  await consumer.connect()
  await consumer.subscribe({ topics, fromBeginning: true })
  await consumer.run({
    autoCommit: false,
    eachMessage: async ({ topic, partition, message }) => {
      console.log(`record ${topic} ${partition} ${message.value}`)
      if (`${message.value}` === 'end') open.delete(`${topic} ${partition}`)
    },
  })
  for (const deadline = Date.now() + READ_PATIENCE_MS; open.size > 0; await sleep(20)) {
    if (crashed) throw crashed
    if (Date.now() > deadline) throw new Error(`no end in ${open.size} partitions, ${[...open].slice(0, 3)}`)
  }
  await consumer.disconnect()
}

const [what, ...rest] = process.argv.slice(2)
const work = { jobs, chain, read }[what]
work(...rest).then(() => process.exit(failures ? 1 : 0), error => {
  console.error(error)
  process.exit(1)
})
