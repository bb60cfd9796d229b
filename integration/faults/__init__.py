"""Death at every step: a gate before the API server says when, `victims` who, `death` what is true then."""
