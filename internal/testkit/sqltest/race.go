//go:build race

package sqltest

const race = true
