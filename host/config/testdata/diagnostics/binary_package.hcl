plugin "p" {
  command = "../gopackage"
}
