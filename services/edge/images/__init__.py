"""POST /v1/images/generations, and the URLs of what it has made."""
