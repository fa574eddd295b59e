"""Moving deposits to the operator's own address: planned beside the mesh, signed offline, sent by anybody."""
