"""How every service process starts, what runs beside its work, and how it ends."""
