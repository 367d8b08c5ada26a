plugin "p" {
  command = "../bin/plugin"

  limits {
    cpus       = 0
    memory     = "much"
    open_files = 0
    processes  = 1.5
    file_size  = 0
    core       = "x"
    cgroup     = "on"
    stack      = 1
  }
}
