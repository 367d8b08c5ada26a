plugin {
}
