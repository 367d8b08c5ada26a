queue "sqs" {
}
