package corpus

import (
	"fmt"
	"strconv"
	"strings"
)

// Say tells the group scenario which partitions a member was given or gave up.
func Say(what string, partitions []int32) {
	var words []string
	for _, partition := range partitions {
		words = append(words, strconv.Itoa(int(partition)))
	}
	fmt.Println(what, strings.Join(words, ","))
}

// Saw tells the group scenario about one record.
func Saw(partition int32, offset int64, value []byte) {
	fmt.Printf("seen %d %d %s\n", partition, offset, value)
}
