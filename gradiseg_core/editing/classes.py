"""Further IDs in a trained scene's classifier, for copies and for what comes from elsewhere.

Notation: encodings e_i [D], classifier weights w_c and biases b_c. A new class n gets a direction u
in which no encoding goes far, the encoding e_n = r u for all of its Gaussians, with r twice the
longest encoding, and w_n = s u, b_n = -s r / 2. Its logit is s (u e - r / 2): at most
s (m - r / 2) < 0 for an encoding that goes m along u, and s r / 2 at e_n.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gradiseg_core.splatting.losses.identity import IdentityClassifier

_TRIALS = 256


@torch.no_grad()
def with_new_class(
    classifier: IdentityClassifier, encodings: Tensor, seed: int = 0
) -> tuple[IdentityClassifier, int, Tensor]:
    """Return a classifier with one class more, its ID, and the encoding of its Gaussians, [D].

    What other encodings are classified as stays what it was.

    Args:
        classifier: F.
        encodings: [N, D] of all Gaussians that the classifier serves.
        seed: Of the directions that are tried.
    """
    weight, bias = classifier.weight.data, classifier.bias.data
    generator = torch.Generator().manual_seed(seed)
    tried = torch.randn(_TRIALS, classifier.dim, generator=generator).to(encodings)
    tried = torch.nn.functional.normalize(torch.cat([tried, -weight.to(encodings)]), dim=1)
    farthest = tried.new_full((len(tried),), -torch.inf)
    longest = 0.0
    for part in encodings.split(65536):
        farthest = torch.maximum(farthest, (part @ tried.T).amax(dim=0))
        longest = max(longest, float(part.norm(dim=1).max()))
    length = 2.0 * max(longest, 1e-3)
    # A rival's logit at e_n counts as well.
    rival = (length * tried @ weight.T + bias).amax(dim=1)
    room = 0.5 * length - farthest.clamp(min=0)
    best = int((room - 1e-3 * rival).argmax())
    direction = tried[best]
    steep = 2.0 * (float(rival[best].clamp(min=0)) + 20.0) / length
    # Rivals win by nothing at e_n, and the new class nowhere else.
    steep = max(steep, 20.0 / max(float(room[best]), 1e-3 * length))
    grown = IdentityClassifier(classifier.num_classes + 1, classifier.dim).to(weight.device)
    grown.weight.data.copy_(torch.cat([weight, steep * direction[None]]))
    new_bias = bias.new_tensor([-0.5 * steep * length])
    grown.bias.data.copy_(torch.cat([bias, new_bias]))
    return grown, classifier.num_classes, length * direction
