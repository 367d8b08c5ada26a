queue "pgmq" {
  archive {
    retain = "one week"
  }
}
plugin "p" {
  command = "../bin/plugin"
}
namespace "a" {
  plugin = "p"
  archive {
    retain = "0s"
  }
}
namespace "b" {
  plugin = "p"
  archive {
    retain = 7
  }
}
namespace "c" {
  plugin = "p"
  archive {
    retain = "40000d"
  }
}
namespace "d" {
  plugin             = "p"
  dead_letter_retain = "1d-1h"
}
