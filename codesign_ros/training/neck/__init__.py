"""Training of necks (``models.neck``) by distillation from the network itself: no labels."""
