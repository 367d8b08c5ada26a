queue "pgmq" {
}
queue "other" {
}
