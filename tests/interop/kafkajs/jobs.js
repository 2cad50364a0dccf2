// kafkajs' jobs. BOOTSTRAP, RUN and T0 in the environment; one line per job, `ok|FAIL job detail`; exit code 1 on any FAIL.
//   jobs.js own              admin, produce and group-less consume with topics of its own
//   jobs.js read WRITER...   what other clients wrote
//
// kafkajs' consumer knows only groups, so the group-less reads use the layer below it: its own cluster, connection, Fetch request and
// record batch decoder.
const { Kafka, CompressionTypes, CompressionCodecs, ConfigResourceTypes, logLevel } = require('kafkajs')
const Cluster = require('kafkajs/src/cluster')
const socketFactory = require('kafkajs/src/network/socketFactory')
const snappy = require('kafkajs-snappy')
const lz4 = require('lz4-napi')
const { ZstdCodec } = require('zstd-codec')
const corpus = require('./corpus')

const ME = 'kafkajs'
const BROKERS = [process.env.BOOTSTRAP]
const CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd']
const TYPES = { none: 'None', gzip: 'GZIP', snappy: 'Snappy', lz4: 'LZ4', zstd: 'ZSTD' }
const KINDS = [...CODECS, 'idempotent', 'jobs']
const DAY_MS = '86400000'
const LIMIT_MS = 20000
const RETRY = { retries: 2 }
const kafka = new Kafka({ brokers: BROKERS, logLevel: logLevel.NOTHING, connectionTimeout: 5000, retry: RETRY })
const logger = { namespace: () => logger, error() {}, warn() {}, info() {}, debug() {} }
const { require: require_ } = corpus
let failures = 0

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

async function own() {
  const admin = kafka.admin()
  await admin.connect()
  const jobs = corpus.topic(ME, 'jobs')
  await job('cluster', () => cluster(admin))
  await job('create-topic', () => createTopics(admin))
  await job('create-again', () => createAgain(admin, jobs))
  await job('metadata', () => metadata(admin, corpus.topic(ME, 'none')))
  for (const codec of CODECS) await job(`produce-${codec}`, () => produce(codec, codec, { idempotent: false }, 1))
  await job('produce-idempotent', () => produce('idempotent', 'none', { idempotent: true, maxInFlightRequests: 1 }, -1))
  await job('produce-largest', () => largest(jobs))
  await job('refuse-too-large', () => tooLarge(jobs))
  for (const kind of [...CODECS, 'idempotent']) await job(`consume-${kind}`, () => consume(ME, kind))
  await job('from-offset', () => startAt('lz4', 37))
  await job('from-timestamp', () => fromTimestamp(admin))
  await job('list-offsets', () => listOffsets(admin))
  await job('offset-out-of-range', outOfRange)
  await job('describe-configs', () => config(admin, jobs, 'cleanup.policy', 'delete'))
  await job('alter-configs', () => alterConfigs(admin, jobs))
  await job('delete-records', () => deleteRecords(admin, jobs))
  await job('create-partitions', () => createPartitions(admin, jobs))
  await job('delete-topic', () => deleteTopic(admin))
  await admin.disconnect()
}

// ---- admin

async function cluster(admin) {
  const seen = await admin.describeCluster()
  require_(seen.brokers.length > 0 && seen.controller !== null && seen.clusterId, JSON.stringify(seen))
  return `${seen.brokers.length} nodes, id ${seen.clusterId}`
}

async function createTopics(admin) {
  const topics = KINDS.map(kind => ({ topic: corpus.topic(ME, kind), numPartitions: corpus.PARTITIONS }))
  require_(await admin.createTopics({ topics }), 'exists already')
  return `${KINDS.length} topics of ${corpus.PARTITIONS} partitions`
}

async function createAgain(admin, topic) {
  require_((await admin.createTopics({ topics: [{ topic }] })) === false, 'created twice')
  return 'TOPIC_ALREADY_EXISTS'
}

async function partitionsOf(admin, topic) {
  return (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions
}

async function metadata(admin, topic) {
  const partitions = await partitionsOf(admin, topic)
  require_(partitions.length === corpus.PARTITIONS && partitions.every(p => p.leader >= 0 && p.isr.length > 0), JSON.stringify(partitions))
  require_((await admin.listTopics()).includes(topic), 'not listed')
  return `${partitions.length} partitions`
}

async function config(admin, topic, key, due) {
  const seen = await admin.describeConfigs({ resources: [{ type: ConfigResourceTypes.TOPIC, name: topic }] })
  const entries = seen.resources[0].configEntries
  const found = entries.find(entry => entry.configName === key)
  require_(found && found.configValue === due, JSON.stringify(found))
  return `${entries.length} entries, ${key}=${due}`
}

async function alterConfigs(admin, topic) {
  const resource = { type: ConfigResourceTypes.TOPIC, name: topic }
  await admin.alterConfigs({ resources: [{ ...resource, configEntries: [{ name: 'retention.ms', value: DAY_MS }] }] })
  const said = await eventually(() => config(admin, topic, 'retention.ms', DAY_MS))
  await admin.alterConfigs({ resources: [{ ...resource, configEntries: [] }] })
  await eventually(() => config(admin, topic, 'retention.ms', '604800000'))
  return `${said}, and back`
}

async function deleteRecords(admin, topic) {
  await admin.fetchTopicOffsets(topic) // deleteTopicRecords looks for leaders in the metadata it already has
  await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '1' }] })
  const low = (await admin.fetchTopicOffsets(topic)).find(p => p.partition === 0).low
  require_(low === '1', `earliest is ${low}`)
  return 'earliest 1'
}

async function createPartitions(admin, topic) {
  await admin.createPartitions({ topicPartitions: [{ topic, count: 5 }] })
  return eventually(async () => {
    const count = (await partitionsOf(admin, topic)).length
    require_(count === 5, `${count} partitions`)
    return '3 -> 5'
  })
}

async function deleteTopic(admin) {
  const topic = corpus.topic(ME, 'gone')
  await admin.createTopics({ topics: [{ topic, numPartitions: 2 }] })
  await admin.deleteTopics({ topics: [topic] })
  return eventually(async () => {
    require_(!(await admin.listTopics()).includes(topic), 'still listed')
    return 'gone'
  })
}

async function listOffsets(admin) {
  for (const { partition, low, high } of await admin.fetchTopicOffsets(corpus.topic(ME, 'gzip')))
    require_(low === '0' && high === `${corpus.PER_PARTITION}`, `partition ${partition}: ${low} to ${high}`)
  return `earliest 0, latest ${corpus.PER_PARTITION}`
}

async function fromTimestamp(admin) {
  // between records 97 and 100 of partition 1
  const found = await admin.fetchTopicOffsetsByTimestamp(corpus.topic(ME, 'zstd'), corpus.timestampMs(100) - 5)
  const { offset } = found.find(p => p.partition === 1)
  require_(offset === '33', `offset ${offset}`)
  return startAt('zstd', 33)
}

// ---- produce

async function produce(kind, codec, options, acks) {
  const topic = corpus.topic(ME, kind)
  const producer = kafka.producer({ ...options, allowAutoTopicCreation: false })
  await producer.connect()
  try {
    const next = Array(corpus.PARTITIONS).fill(0)
    for (const messages of sends()) {
      for (const { partition, baseOffset } of await producer.send({ topic, acks, compression: CompressionTypes[TYPES[codec]], messages })) {
        require_(Number(baseOffset) === next[partition], `partition ${partition} acknowledged at offset ${baseOffset}`)
        next[partition] += messages.filter(message => message.partition === partition).length
      }
    }
  } finally {
    await producer.disconnect()
  }
  return `${corpus.RECORDS} records`
}

/** kafkajs makes one batch a partition of what it is given at once, whatever its size: give it what fits. */
function* sends() {
  let messages = []
  for (let i = 0; i < corpus.RECORDS; i++) {
    messages.push({ partition: i % corpus.PARTITIONS, key: corpus.key(i), value: corpus.value(ME, i), headers: corpus.headers(ME, i),
      timestamp: `${corpus.timestampMs(i)}` })
    if (i % 15 === 14 || i % 15 === 13) {
      yield messages
      messages = []
    }
  }
}

async function produceOne(topic, value) {
  const producer = kafka.producer({ allowAutoTopicCreation: false })
  await producer.connect()
  try {
    return (await producer.send({ topic, messages: [{ partition: 0, value }] }))[0].baseOffset
  } finally {
    await producer.disconnect()
  }
}

/** One record whose batch is just below max.message.bytes (1048588), written and read back. */
async function largest(topic) {
  const value = corpus.random(1, 1048400)
  const offset = await produceOne(topic, value)
  const record = await withCluster(topic, cluster => first(cluster, topic, 0, offset))
  require_(corpus.same(record.value, value), 'read back differently')
  return `${value.length} bytes`
}

async function tooLarge(topic) {
  const said = await expect('MESSAGE_TOO_LARGE', () => produceOne(topic, corpus.random(1, 1100000)))
  await produceOne(topic, corpus.random(1, 10))
  return `${said}, and the next record is accepted`
}

// ---- consume, without a group

async function withCluster(topic, body) {
  const cluster = new Cluster({ logger, socketFactory: socketFactory(), brokers: BROKERS, connectionTimeout: 5000, requestTimeout: LIMIT_MS,
    enforceRequestTimeout: true, metadataMaxAge: 300000, allowAutoTopicCreation: false, isolationLevel: 1, retry: RETRY })
  await cluster.connect()
  try {
    await cluster.addTargetTopic(topic)
    return await body(cluster)
  } finally {
    await cluster.disconnect()
  }
}

async function fetch(cluster, topic, partition, offset) {
  const [nodeId] = Object.keys(cluster.findLeaderForPartitions(topic, [partition]))
  const broker = await cluster.findBroker({ nodeId })
  const answer = await broker.fetch({ maxWaitTime: 1000, isolationLevel: 1,
    topics: [{ topic, partitions: [{ partition, fetchOffset: `${offset}`, maxBytes: 1048576 }] }] })
  const { messages, highWatermark } = answer.responses[0].partitions[0]
  return { highWatermark, records: messages.filter(message => Number(message.offset) >= Number(offset)) }
}

async function first(cluster, topic, partition, offset) {
  const { records } = await fetch(cluster, topic, partition, offset)
  require_(records.length > 0, 'nothing came')
  return records[0]
}

async function consume(writer, kind) {
  const topic = corpus.topic(writer, kind)
  let seen = 0
  await withCluster(topic, async cluster => {
    for (let partition = 0; partition < corpus.PARTITIONS; partition++) {
      let next = 0
      while (next < corpus.PER_PARTITION) {
        const { records, highWatermark } = await fetch(cluster, topic, partition, next)
        require_(records.length > 0, `nothing came at ${partition}@${next}`)
        require_(Number(highWatermark) === corpus.PER_PARTITION, `high watermark ${highWatermark}`)
        for (const record of records) {
          require_(Number(record.offset) === next++, `offset ${record.offset} out of order`)
          corpus.check(writer, partition, record)
          seen++
        }
      }
    }
  })
  return `${seen} records`
}

async function startAt(kind, offset) {
  const topic = corpus.topic(ME, kind)
  const record = await withCluster(topic, cluster => first(cluster, topic, 1, offset))
  require_(Number(record.offset) === offset, `offset ${record.offset}`)
  corpus.check(ME, 1, record)
  return `offset ${offset}`
}

async function outOfRange() {
  const topic = corpus.topic(ME, 'none')
  return expect('OFFSET_OUT_OF_RANGE', () => withCluster(topic, cluster => fetch(cluster, topic, 0, 1000000)))
}

// ---- helpers

async function expect(type, body) {
  try {
    await body()
  } catch (error) {
    const cause = error.cause?.type ? error.cause : error
    if (cause.type === type) return type
    throw error
  }
  throw new Error(`no ${type}`)
}

/** Apache Kafka answers an admin request before every broker has applied what its controller decided. */
async function eventually(body) {
  const deadline = Date.now() + 5000
  for (;;) {
    try {
      return await body()
    } catch (error) {
      if (Date.now() > deadline) throw error
      await new Promise(resolve => setTimeout(resolve, 10))
    }
  }
}

function installCodecs(zstd) {
  const streaming = new zstd.Streaming()
  CompressionCodecs[CompressionTypes.Snappy] = snappy
  CompressionCodecs[CompressionTypes.LZ4] = () => ({
    compress: async encoder => lz4.compressFrame(encoder.buffer),
    decompress: async buffer => lz4.decompressFrame(buffer),
  })
  CompressionCodecs[CompressionTypes.ZSTD] = () => ({
    compress: async encoder => Buffer.from(streaming.compress(encoder.buffer)),
    decompress: async buffer => Buffer.from(streaming.decompress(buffer)),
  })
}

async function main() {
  installCodecs(await new Promise(resolve => ZstdCodec.run(resolve)))
  const [command, ...writers] = process.argv.slice(2)
  if (command === 'own') await own()
  else for (const writer of writers) for (const codec of CODECS) await job(`read-${writer}-${codec}`, () => consume(writer, codec))
  process.exit(failures === 0 ? 0 : 1)
}

main()
