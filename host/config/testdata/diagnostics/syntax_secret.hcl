queue "pgmq" {
  dsn = "postgres://u:hunter2@h/db" "x"
}
