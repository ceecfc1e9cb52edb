"""The pages where people see what was found, and decide. The rules are those of `service.review`."""
