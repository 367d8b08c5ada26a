host {
  log_level = 
  log_lvel = "x"
}
namespace "a" {
}
