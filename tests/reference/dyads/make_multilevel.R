# Patients within clinicians by lme4: run in this folder with `Rscript make_multilevel.R`. Writes multilevel.json and its
# data ratings.csv (simulated: 34 clinicians, 2 to 14 patients, 6 items) and ratings_flat.csv (no variance of patients).
library(lme4); library(jsonlite)
tight <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-12, maxfun = 1e6), check.conv.singular = "ignore",
                     calc.derivs = FALSE)
one_way <- function(y, g) {
  d <- data.frame(y = y, g = factor(g)); d <- d[!is.na(d$y), ]
  m <- lmer(y ~ 1 + (1 | g), d, control = tight); v <- as.data.frame(VarCorr(m))$vcov
  re <- ranef(m, condVar = TRUE)$g
  list(between = v[1], within = v[2], mean = unname(fixef(m)), mean_se = sqrt(as.numeric(vcov(m))), log_likelihood = as.numeric(logLik(m)),
       labels = rownames(re), shrunken = unname(fixef(m)) + re[, 1], conditional_sd = sqrt(as.numeric(attr(re, "postVar"))))
}
g_study <- function(d) {
  items <- setdiff(names(d), c("cl", "dy"))
  long <- do.call(rbind, lapply(items, function(i) data.frame(cl = d$cl, dy = d$dy, item = i, y = d[[i]])))
  m <- lmer(y ~ 1 + (1 | cl) + (1 | cl:dy) + (1 | item) + (1 | cl:item), long, control = tight)
  v <- as.data.frame(VarCorr(m)); v <- setNames(v$vcov, v$grp)
  list(clinician = v[["cl"]], patient = v[["cl:dy"]], item = v[["item"]], clinician_item = v[["cl:item"]],
       residual = v[["Residual"]], log_likelihood = as.numeric(logLik(m)))
}
set.seed(7)
make <- function(k, sizes, items, sc, sp, si, sci, se) {
  n <- sample(sizes, k, TRUE); cl <- rep(seq_len(k), n); total <- sum(n)
  y <- 3.6 + rnorm(k, 0, sc)[cl] + rnorm(total, 0, sp) + matrix(rnorm(items, 0, si), total, items, byrow = TRUE) +
    matrix(rnorm(k * items, 0, sci), k)[cl, ] + matrix(rnorm(total * items, 0, se), total)
  d <- data.frame(cl = cl, dy = seq_len(total), round(y, 2)); names(d)[-(1:2)] <- paste0("q", seq_len(items)); d
}
ratings <- make(34, 2:14, 6, .35, .6, .3, .2, .7)
flat <- make(25, 3:8, 4, .5, 0, .4, .3, .9)
write.csv(ratings, "ratings.csv", row.names = FALSE, quote = FALSE)
write.csv(flat, "ratings_flat.csv", row.names = FALSE, quote = FALSE)
math <- read.csv("math_achieve.csv"); owm <- read.csv("owm.csv")
reference <- list(
  versions = list(R = as.character(getRversion()), lme4 = as.character(packageVersion("lme4"))),
  one_way = list(
    dyestuff = c(one_way(Dyestuff$Yield, Dyestuff$Batch), list(y = Dyestuff$Yield, g = as.integer(Dyestuff$Batch))),
    dyestuff2 = c(one_way(Dyestuff2$Yield, Dyestuff2$Batch), list(y = Dyestuff2$Yield, g = as.integer(Dyestuff2$Batch))),
    sleepstudy = c(one_way(sleepstudy$Reaction, sleepstudy$Subject),
                   list(y = sleepstudy$Reaction, g = as.integer(as.character(sleepstudy$Subject)))),
    math_achieve = one_way(math$MathAch, math$School), owm_patient = one_way(owm$P, owm$cl),
    owm_clinician = one_way(owm$C, owm$cl)),
  g_study = list(ratings = g_study(ratings), ratings_flat = g_study(flat))
)
write_json(reference, "multilevel.json", digits = 12, auto_unbox = TRUE, pretty = FALSE)
