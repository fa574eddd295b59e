"""The operators of the mesh: their keys, their sessions in the operators' console, and the record of their actions."""
