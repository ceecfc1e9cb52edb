"""The pages where people see what was found, and decide. Rules live in `service.review`; this is how they look."""
