from .nt_xent import nt_xent_loss as nt_xent_loss
