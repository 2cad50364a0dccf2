// The records every client writes and every client checks, computed from their index alone (see ../README.md).
const crypto = require('crypto')

const RECORDS = 240
const PARTITIONS = 3
const PER_PARTITION = RECORDS / PARTITIONS
const STEP_MS = 10
const SIZES = [1, 2, 7, 50, 100, 333, 1000, 1024, 2500, 5000, 10000, 33000]
const NULL_HEADERS = new Set(['java', 'franz-go', 'sarama']) // the other clients cannot write a header without a value
const T0_MS = Number(process.env.T0)
const fillings = []

const size = i => (i % 60 === 59 ? 900000 : i % 60 === 29 ? 300000 : SIZES[i % SIZES.length])
const key = i => (i % 5 === 4 ? null : Buffer.from(`key-${i}`))
const timestampMs = i => T0_MS + i * STEP_MS
const topic = (writer, kind) => `${process.env.RUN}.${writer}.${kind}`

/** Bytes that do not compress: SHA-256 of "ringlog:INDEX:BLOCK", block after block. */
function random(i, length) {
  const blocks = []
  for (let block = 0; block * 32 < length; block++) blocks.push(crypto.createHash('sha256').update(`ringlog:${i}:${block}`).digest())
  return Buffer.concat(blocks).subarray(0, length)
}

function value(writer, i) {
  if (i % 40 === 20 || (i % 40 === 21 && writer === 'kcat')) return null // kcat writes null for empty
  if (i % 40 === 21) return Buffer.alloc(0)
  fillings[i] ??= (Math.floor(i / 60) + i) % 2 === 0 ? random(i, size(i)) : Buffer.alloc(size(i), `record ${i} of the ringlog corpus\n`)
  return fillings[i]
}

function headers(writer, i) {
  if (writer === 'kcat') return { writer } // one set of headers for a whole kcat process
  return { writer, i: `${i}`, empty: '', ...(i % 3 === 0 && NULL_HEADERS.has(writer) ? { null: null } : {}) }
}

const same = (a, b) => (a === null || b === null ? a === b : Buffer.compare(Buffer.from(a), Buffer.from(b)) === 0)

function require_(holds, otherwise) {
  if (!holds) throw new Error(otherwise)
}

/** Throws when a record read at its partition and offset is not the record that was written there. */
function check(writer, partition, record) {
  const i = Number(record.offset) * PARTITIONS + partition
  const where = `${partition}@${record.offset}`
  require_(i < RECORDS, `partition ${partition} has an offset ${record.offset}`)
  require_(same(record.key, key(i)), `${where}: key differs`)
  require_(same(record.value, value(writer, i)), `${where}: value differs`)
  const due = Object.entries(headers(writer, i))
  const read = Object.entries(record.headers)
  require_(read.length === due.length, `${where}: ${read.length} headers`)
  due.forEach(([name, content], at) => require_(read[at][0] === name && same(read[at][1], content), `${where}: header ${name} differs`))
  if (writer !== 'kcat') require_(Number(record.timestamp) === timestampMs(i), `${where}: timestamp ${record.timestamp}`)
}

module.exports = { RECORDS, PARTITIONS, PER_PARTITION, timestampMs, topic, key, value, headers, random, check, same, require: require_ }
