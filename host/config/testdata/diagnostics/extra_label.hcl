host "x" {
}
