package supervisor_test

func runTestHost(string) {}

const hostVariable = "SUPERVISOR_TEST_HOST"
