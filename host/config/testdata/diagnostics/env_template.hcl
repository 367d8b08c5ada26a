host {
  id = "x-${env("UNSET")}"
}
