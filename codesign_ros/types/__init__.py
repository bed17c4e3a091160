"""What all others speak of: forms, tensors, codecs, devices, links, plans, boxes, errors.

``CodesignError``, which all that a user can mend raises, is here for whoever uses the package.
"""

from codesign_ros.types.errors import CodesignError as CodesignError
