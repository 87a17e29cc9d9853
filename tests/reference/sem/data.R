# Data sets that the reference figures rest on, written as CSV: public ones and one simulated to look like a clinic survey
# (five categories, most answers at the top, a category that hardly anyone uses, blanks, patients nested in clinicians).
library(lavaan)
write.csv(PoliticalDemocracy, "political.csv", row.names = FALSE)
write.csv(round(Demo.growth, 6), "growth.csv", row.names = FALSE)
bfi <- psychTools::bfi
set.seed(1)
bfi <- bfi[sort(sample(nrow(bfi), 900)), c(paste0("A", 1:5), paste0("C", 1:5), paste0("N", 1:5), "gender")]
write.csv(bfi, "bfi.csv", row.names = FALSE, na = "")

set.seed(20240)
n <- 480
clinician <- rep(1:48, each = 10)
f <- rnorm(48, sd = .5)[clinician] + rnorm(n)
g <- .6 * f + rnorm(48, sd = .3)[clinician] + rnorm(n, sd = .8)
loadings <- c(.8, .7, .6, .75)
item <- function(eta, loading, cuts) {
  y <- loading * eta + rnorm(n, sd = sqrt(1 - loading^2))
  1 + findInterval(y, cuts)
}
cuts <- list(c(-2.2, -1.5, -.8, .1), c(-2, -1.4, -.9, -.1), c(-2.4, -1.8, -1, .3), c(-1.9, -1.2, -.5, .4))
a <- sapply(1:4, function(j) item(f, loadings[j], cuts[[j]]))
b <- sapply(1:4, function(j) item(g, loadings[5 - j], cuts[[5 - j]]))
clinic <- data.frame(a, b)
names(clinic) <- c(paste0("a", 1:4), paste0("b", 1:4))
for (j in 1:8) clinic[sample(n, 20), j] <- NA
clinic$b4[clinic$a1 %in% 1:2 & runif(n) < .5] <- NA
clinic$age <- round(rnorm(n, 50, 12) + 3 * g)
clinic$clinician <- clinician
clinic$site <- ifelse(clinician %% 2 == 0, "north", "south")
write.csv(clinic, "clinic.csv", row.names = FALSE, na = "")
