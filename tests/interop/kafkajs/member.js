// A member of a consumer group, see ../groups/scenario.py. BOOTSTRAP in the environment.
//   member.js TOPIC GROUP
const { Kafka, logLevel } = require('kafkajs')

const [topic, groupId] = process.argv.slice(2)
const kafka = new Kafka({ brokers: [process.env.BOOTSTRAP], logLevel: logLevel.ERROR, connectionTimeout: 2000,
  retry: { initialRetryTime: 100, maxRetryTime: 500, retries: 50 } })
const consumer = kafka.consumer({ groupId, sessionTimeout: 6000, heartbeatInterval: 1000, rebalanceTimeout: 6000, maxWaitTimeInMs: 200 })

async function main() {
  // each generation begins with what the member owns in it
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => console.log(`assigned ${(payload.memberAssignment[topic] || []).join(',')}`))
  consumer.on(consumer.events.CRASH, ({ payload }) => console.error(`crash: ${payload.error}, restart ${payload.restart}`))
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  await consumer.run({
    autoCommitInterval: 200,
    eachMessage: async ({ partition, message }) => console.log(`seen ${partition} ${message.offset} ${message.value}`),
  })
}

process.on('SIGTERM', async () => {
  await consumer.disconnect()
  process.exit(0)
})
main().catch(error => {
  console.error(error)
  process.exit(1)
})
