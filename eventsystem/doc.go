// Package eventsystem is the event-driven system contract.
package eventsystem
