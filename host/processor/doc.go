// Package processor is the command processor: one lane per namespace.
package processor
