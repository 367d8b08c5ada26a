queue "pgmq" {
  queue_name = "steps"
}
