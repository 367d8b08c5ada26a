hots {
}
