plugin "orders" {
  command = "../bin/plugin"
  swap    = "rolling"
  watch   = "sometimes"
}
