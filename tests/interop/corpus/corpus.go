// Package corpus holds the records every client writes and every client checks, computed from their index alone (see ../README.md),
// and what the Go clients' programs share: the environment, and one line per job.
package corpus

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	Records      = 240
	Partitions   = 3
	PerPartition = Records / Partitions
	stepMs       = 10
	Limit        = 20 * time.Second
)

var (
	Bootstrap = os.Getenv("BOOTSTRAP")
	run       = os.Getenv("RUN")
	t0, _     = strconv.ParseInt(os.Getenv("T0"), 10, 64)
	Codecs    = []string{"none", "gzip", "snappy", "lz4", "zstd"}
	Kinds     = append([]string{"idempotent", "jobs"}, Codecs...)

	sizes = []int{1, 2, 7, 50, 100, 333, 1000, 1024, 2500, 5000, 10000, 33000}
	// the other clients cannot write a header without a value
	nullHeaders = []string{"java", "franz-go", "sarama"}
	values      [Records][]byte
	failures    int
)

// Header is one record header; a nil Value is Kafka's null.
type Header struct {
	Key   string
	Value []byte
}

// Record is what a client read back; nil means null in Key and Value too.
type Record struct {
	Partition int32
	Offset    int64
	Key       []byte
	Value     []byte
	Headers   []Header
	Timestamp time.Time
}

func Topic(writer, kind string) string { return run + "." + writer + "." + kind }

func Timestamp(i int) time.Time { return time.UnixMilli(t0 + int64(i)*stepMs) }

func Key(i int) []byte {
	if i%5 == 4 {
		return nil
	}
	return []byte(fmt.Sprintf("key-%d", i))
}

func Value(writer string, i int) []byte {
	switch {
	case i%40 == 20, i%40 == 21 && writer == "kcat": // kcat writes null for empty
		return nil
	case i%40 == 21:
		return []byte{}
	case values[i] != nil:
	case (i/60+i)%2 == 0:
		values[i] = Random(i, size(i))
	default:
		line := []byte(fmt.Sprintf("record %d of the ringlog corpus\n", i))
		values[i] = bytes.Repeat(line, size(i)/len(line)+1)[:size(i)]
	}
	return values[i]
}

func Headers(writer string, i int) []Header {
	if writer == "kcat" { // one set of headers for a whole kcat process
		return []Header{{"writer", []byte(writer)}}
	}
	headers := []Header{{"writer", []byte(writer)}, {"i", []byte(strconv.Itoa(i))}, {"empty", []byte{}}}
	if i%3 == 0 && slices.Contains(nullHeaders, writer) {
		headers = append(headers, Header{"null", nil})
	}
	return headers
}

// Check fails when a record read at its partition and offset is not the record that was written there.
func Check(writer string, r Record) error {
	i := int(r.Offset)*Partitions + int(r.Partition)
	if i >= Records {
		return fmt.Errorf("partition %d has an offset %d", r.Partition, r.Offset)
	}
	differs := func(what string) error { return fmt.Errorf("%d@%d: %s differs", r.Partition, r.Offset, what) }
	headers := Headers(writer, i)
	switch {
	case !same(r.Key, Key(i)):
		return differs("key")
	case !same(r.Value, Value(writer, i)):
		return differs("value")
	case len(r.Headers) != len(headers):
		return differs("number of headers")
	case writer != "kcat" && !r.Timestamp.Equal(Timestamp(i)):
		return differs("timestamp " + r.Timestamp.String())
	}
	for at, header := range headers {
		if r.Headers[at].Key != header.Key || !same(r.Headers[at].Value, header.Value) {
			return differs("header " + header.Key)
		}
	}
	return nil
}

// Random makes bytes that do not compress: SHA-256 of "ringlog:INDEX:BLOCK", block after block.
func Random(i, size int) []byte {
	out := make([]byte, 0, size+sha256.Size)
	for block := 0; len(out) < size; block++ {
		sum := sha256.Sum256([]byte(fmt.Sprintf("ringlog:%d:%d", i, block)))
		out = append(out, sum[:]...)
	}
	return out[:size]
}

// Progress counts what a consumer reads, checking content and order.
type Progress struct {
	Writer string
	Seen   int
	next   [Partitions]int64
}

func (p *Progress) Add(r Record) error {
	if r.Offset != p.next[r.Partition] {
		return fmt.Errorf("%d@%d where %d was due", r.Partition, r.Offset, p.next[r.Partition])
	}
	p.next[r.Partition]++
	p.Seen++
	return Check(p.Writer, r)
}

// Job runs one job and prints its line.
func Job(name string, body func() (string, error)) {
	detail, err := body()
	line := "ok " + name + " " + detail
	if err != nil {
		failures++
		line = "FAIL " + name + " " + err.Error()
	}
	fmt.Println(strings.ReplaceAll(line, "\n", " "))
}

// Eventually repeats body until it succeeds, or a few seconds have passed: Apache Kafka answers an admin request before every broker
// has applied what its controller decided.
func Eventually[T any](body func() (T, error)) (T, error) {
	deadline := time.Now().Add(5 * time.Second)
	for {
		said, err := body()
		if err == nil || time.Now().After(deadline) {
			return said, err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Exit ends the program: 1 when a job failed.
func Exit() {
	if failures > 0 {
		os.Exit(1)
	}
	os.Exit(0)
}

func size(i int) int {
	switch {
	case i%60 == 59:
		return 900_000
	case i%60 == 29:
		return 300_000
	}
	return sizes[i%len(sizes)]
}

func same(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }
