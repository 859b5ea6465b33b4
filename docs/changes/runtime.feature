A layered runtime from static layers, directories and the admin page.
